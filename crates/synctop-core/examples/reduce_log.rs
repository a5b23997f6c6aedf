//! Reduces a log from stdin and prints its summary as JSON.
//!
//! ```sh
//! cargo run -p synctop-core --example reduce_log < sync.ndjson
//! ```

use std::io::Read;
use synctop_core::protocol::Decoder;
use synctop_core::reduce::Reducer;
use synctop_core::report::{report, summary};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut reducer = Reducer::new(Decoder::default());
    let (mut input, mut chunk) = (std::io::stdin().lock(), vec![0; 1 << 16]);
    loop {
        match input.read(&mut chunk)? {
            0 => break,
            length => reducer.push(chunk.get(..length).unwrap_or_default()),
        }
    }
    // The exit of the engine's process is unknown here: pass it if you started the process.
    reducer.finish(None);
    eprint!("{}", report(&reducer.progress));
    println!("{}", serde_json::to_string_pretty(&summary(&reducer.progress))?);
    Ok(())
}
