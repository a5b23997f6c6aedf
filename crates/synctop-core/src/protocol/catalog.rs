//! Catalog files: the requested streams of a run, or the available streams of a source.

use super::lenient::{Entries, Flag, Maybe, Seq, Text};
use super::message::{Kind, Name};
use super::{Decoded, Decoder, Line, LineEnd};
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Streams of a catalog file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Listed streams in the order of the file, selected or not.
    pub streams: Vec<ListedStream>,
    /// True for a configured catalog, whose selected streams have to be read. False for the
    /// available streams of a source.
    pub configured: bool,
}

/// Stream of a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStream {
    /// Name of the stream. For Singer it is `stream`, or `tap_stream_id` if `stream` is absent.
    pub stream: Name<'static>,
    /// True if the catalog deselects the stream.
    pub deselected: bool,
    /// True if the run requests the stream.
    pub asked: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct File<'a> {
    #[serde(borrow)]
    streams: Seq<Maybe<Entry<'a>>>,
}

/// Entry of Airbyte's configured catalog (`stream` is an object), Airbyte's discovered catalog
/// (`name`) or Singer's catalog (`stream` is a name; `tap_stream_id`, `metadata`).
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    stream: Inner<'a>,
    #[serde(borrow)]
    tap_stream_id: Text<'a>,
    #[serde(borrow)]
    sync_mode: Text<'a>,
    metadata: Seq<Maybe<Metadata>>,
}

/// Field `stream` of an entry: an object in Airbyte, a name in Singer.
#[derive(Debug, Default)]
enum Inner<'a> {
    #[default]
    None,
    Name(Cow<'a, str>),
    Stream(Descriptor<'a>),
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Descriptor<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Inner<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let read = |error: serde_json::Error| serde::de::Error::custom(error);
        match raw.as_bytes().first() {
            Some(b'{') => serde_json::from_str(raw).map(Self::Stream).map_err(read),
            Some(b'"') => {
                let text: Text = serde_json::from_str(raw).map_err(read)?;
                Ok(text.0.map_or(Self::None, Self::Name))
            }
            _ => Ok(Self::None),
        }
    }
}

/// Metadata of a Singer stream, or of one of its columns if the breadcrumb is not empty.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Metadata {
    breadcrumb: Seq<serde::de::IgnoredAny>,
    metadata: Maybe<Selection>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Selection {
    selected: Flag,
}

/// Parses a catalog of Airbyte (configured, discovered, or the output of `discover`) or Singer.
/// `None` for any other text.
#[must_use]
pub fn read(text: &str) -> Option<Catalog> {
    if let Ok(file) = serde_json::from_str::<Entries<serde::de::IgnoredAny>>(text)
        && file.0.is_some_and(|keys| keys.iter().any(|(key, _)| key == "streams"))
    {
        return parse_object(text);
    }
    let decoder = Decoder::default();
    text.lines().find_map(|line| {
        let line = Line { bytes: line.as_bytes(), length: line.len() as u64, end: LineEnd::Newline, huge: None };
        let mut scratch = String::new();
        let Decoded::Message { message, .. } = decoder.decode(&line, &mut scratch) else { return None };
        let (Kind::AvailableStreams(names) | Kind::Catalog(names)) = message.kind else { return None };
        let listed = |name: Name| ListedStream { stream: name.into_owned(), deselected: false, asked: false };
        Some(Catalog { streams: names.into_iter().map(listed).collect(), configured: false })
    })
}

/// Parses a catalog that is one JSON object with `streams`.
fn parse_object(text: &str) -> Option<Catalog> {
    let file = serde_json::from_str::<File>(text).ok()?;
    let mut catalog = Catalog::default();
    for entry in file.streams.0?.into_iter().filter_map(|entry| entry.0) {
        let own = |text: Text| text.0.map(|text| text.into_owned().into());
        let selection = || {
            let metadata = entry.metadata.0.as_ref()?.iter().filter_map(|it| it.0.as_ref());
            let of_stream = metadata.filter(|it| it.breadcrumb.0.as_ref().is_none_or(Vec::is_empty));
            let selections = of_stream.filter_map(|it| it.metadata.0.as_ref());
            selections.map(|selection| selection.selected.0).next().flatten()
        };
        let selected = selection();
        let mut asked = false;
        let stream = match entry.stream {
            Inner::Stream(Descriptor { name, namespace }) => {
                catalog.configured |= entry.sync_mode.0.is_some() || entry.name.0.is_none();
                asked = true;
                own(name).map(|name| Name::with_namespace(own(namespace), name))
            }
            // Singer messages carry this name, not `tap_stream_id`, which may differ.
            Inner::Name(name) => {
                catalog.configured |= selected.is_some();
                asked = selected == Some(true);
                Some(Name::plain(name.into_owned().into()))
            }
            Inner::None => {
                let name = own(entry.name).or_else(|| own(entry.tap_stream_id));
                name.map(|name| Name::with_namespace(own(entry.namespace), name))
            }
        };
        let Some(stream) = stream else { continue };
        catalog.streams.push(ListedStream { stream, deselected: selected == Some(false), asked });
    }
    Some(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(catalog: &Catalog) -> Vec<String> {
        let mark =
            |listed: &ListedStream| format!("{}{}", listed.stream.label(), if listed.deselected { " -" } else { "" });
        catalog.streams.iter().map(mark).collect()
    }

    #[test]
    fn all_kinds_of_catalogs_are_read() {
        let configured = r#"{"streams":[{"stream":{"name":"users","namespace":"public","json_schema":{}},"sync_mode":"full_refresh"},
            {"stream":{"name":"orders"},"sync_mode":"incremental"}]}"#;
        let catalog = read(configured).unwrap();
        assert_eq!((names(&catalog), catalog.configured), (vec!["public.users".into(), "orders".into()], true));
        let discovered = r#"{"streams":[{"name":"users","namespace":null,"json_schema":{}}]}"#;
        assert_eq!(read(discovered).map(|it| (names(&it), it.configured)), Some((vec!["users".into()], false)));
        let recorded = format!(
            "text\n{{\"type\":\"LOG\",\"log\":{{\"message\":\"x\"}}}}\n{{\"type\":\"CATALOG\",\"catalog\":{discovered}}}\n"
        );
        assert_eq!(read(&recorded).map(|it| (names(&it), it.configured)), Some((vec!["users".into()], false)));
        let singer = "{\n \"streams\": [{\"tap_stream_id\": \"u-1\", \"stream\": \"users\", \"metadata\": [
            {\"breadcrumb\": [], \"metadata\": {\"selected\": false}}, {\"breadcrumb\": [\"properties\", \"id\"], \"metadata\": {\"selected\": true}}]},
            {\"tap_stream_id\": \"orders\", \"stream\": \"orders\", \"metadata\": [{\"breadcrumb\": [], \"metadata\": {\"selected\": true}}]}]}";
        let catalog = read(singer).unwrap();
        assert_eq!((names(&catalog), catalog.configured), (vec!["users -".into(), "orders".into()], true));
        for none in ["", "[]", "{}", "null", "text\n", r#"{"type":"LOG","log":{"message":"x"}}"#] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
