// Parses and validates every line of a log with simdjson's parse_many, and counts its messages by type:
//   c++ -O3 -o simdjson_many simdjson_many.cpp -lsimdjson && ./simdjson_many FILE
// The peer for validated work: other modes of simdjson leave the parts that nothing reads unchecked.
#include <cstdio>
#include <map>
#include <simdjson.h>
#include <string>

int main(int count, char **words) {
    if (count != 2) return 2;
    simdjson::padded_string log;
    if (simdjson::padded_string::load(words[1]).get(log)) return 1;
    simdjson::dom::parser parser;
    simdjson::dom::document_stream lines;
    if (parser.parse_many(log, 1 << 20).get(lines)) return 1;
    std::map<std::string, unsigned long> types;
    unsigned long bad = 0;
    for (auto line : lines) {
        std::string_view type;
        if (line.error()) {
            bad++;
        } else if (!line["type"].get(type)) {
            types[std::string(type)]++;
        }
    }
    for (auto &[type, number] : types) std::printf("%s %lu\n", type.c_str(), number);
    std::printf("malformed %lu\n", bad);
}
