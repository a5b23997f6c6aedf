"""What DuckDB says of a log, in one scan: records and checkpoints by stream, errors, last status, first and last time.

usage: duckdb_summary.py FILE THREADS LARGEST_LINE
"""
import json
import sys

import duckdb

path, threads, largest = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
con = duckdb.connect(config={"threads": threads, "preserve_insertion_order": False})
rows = con.execute(
    f"""
SELECT coalesce(record.stream, source_state.stream, trace.stream_status.stream) AS stream,
       count(record.stream), count(source_state.stream),
       count(*) FILTER (trace.trace_type = 'error'),
       max_by(trace.stream_status.status, _ts), min(_ts), max(_ts)
FROM read_json(?, format='newline_delimited', ignore_errors=true, maximum_object_size={largest},
     columns={{_ts: 'VARCHAR', record: 'STRUCT(stream VARCHAR)', source_state: 'STRUCT(stream VARCHAR)',
       trace: 'STRUCT(trace_type VARCHAR, stream_status STRUCT(stream VARCHAR, status VARCHAR))'}})
GROUP BY 1""",
    [path],
).fetchall()
streams = {r[0]: {"records": r[1], "states": r[2], "status": r[4]} for r in rows if r[0] is not None}
print(json.dumps({"errors": sum(r[3] for r in rows), "streams": streams}))
