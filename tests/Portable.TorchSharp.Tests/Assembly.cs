// The random generator, the thread count and the count of live tensors belong to the process: tests that run at once would disturb each other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
