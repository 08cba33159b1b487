#!/usr/bin/env python3
"""One rank of torch.distributed's Gloo, driven by lines on stdin: 'sum BYTES REPEATS' answers with the seconds of each, as JSON."""
import json
import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

import torch
import torch.distributed as dist

rank, world, store = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=world)
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    _, size, repeats = line.split()
    values = torch.ones(int(size) // 4)
    for _ in range(3):
        dist.all_reduce(values)
        values.fill_(1)
    dist.barrier()
    seconds = []
    for _ in range(int(repeats)):
        started = time.perf_counter()
        dist.all_reduce(values)
        seconds.append(time.perf_counter() - started)
        values.fill_(1)
    print(json.dumps({"seconds": seconds}), flush=True)
