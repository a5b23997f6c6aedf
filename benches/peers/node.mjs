// The same as duckdb_summary.py, line by line in Node. usage: node node.mjs FILE
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

const streams = new Map();
const get = (name) => {
  let stream = streams.get(name);
  if (!stream) streams.set(name, (stream = { records: 0, states: 0, status: null, at: "" }));
  return stream;
};
let errors = 0;
let bad = 0;
const lines = createInterface({ input: createReadStream(process.argv[2], { highWaterMark: 1 << 20 }), crlfDelay: Infinity });
for await (const line of lines) {
  let message;
  try {
    message = JSON.parse(line);
  } catch {
    bad++;
    continue;
  }
  if (message?.type === "record") get(message.record.stream).records++;
  else if (message?.type === "source_state") get(message.source_state.stream).states++;
  else if (message?.type === "trace") {
    const trace = message.trace;
    if (trace.trace_type === "error") errors++;
    else if (trace.trace_type === "stream_status") {
      const stream = get(trace.stream_status.stream);
      if (message._ts >= stream.at) [stream.at, stream.status] = [message._ts, trace.stream_status.status];
    }
  }
}
console.log(JSON.stringify({ errors, bad, streams: Object.fromEntries(streams) }));
