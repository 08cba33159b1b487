namespace DarkMatter.Data;

/// <summary>Builds the index of a tar that others made, by walking its headers once.</summary>
internal static class ShardIndexer
{
    private const int MaxMembers = 256;

    /// <summary>Indexes a tar. Samples without an image are left out and named in <paramref name="withoutImage"/>.</summary>
    /// <exception cref="DatasetException">The tar is missing, damaged, or no WebDataset.</exception>
    public static async Task<ShardIndex> BuildAsync(IBlobStore store, string blob, List<string> withoutImage, CancellationToken cancellation)
    {
        var where = Path.Combine(store.Location, blob);
        var length = await store.FindLengthAsync(blob, cancellation)
            ?? throw new DatasetException("the tar is missing", where, DatasetFolder.WhereToGet(where));
        var reader = new TarReader(store, blob, length);
        var index = new ShardIndex.Builder(length, []);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var members = new List<(string Suffix, TarMember Member)>();
        string? current = null;

        while (await reader.NextAsync(cancellation) is { } member)
        {
            if (!SampleName.TrySplit(member.Name, out var key, out var suffix))
                continue;
            if (key != current)
            {
                EndSample();
                if (!seen.Add(key))
                {
                    throw new DatasetException($"sample '{key}' stands at two places of the tar", where,
                        "The members of a sample must be adjacent: write the tar again in sorted order (tar --sort=name).");
                }

                current = key;
            }

            if (members.Any(other => other.Suffix == suffix))
                throw new DatasetException($"sample '{key}' has two members with the suffix '{suffix}'", where, "Write the tar again without the duplicate.");
            if (members.Count == MaxMembers)
            {
                throw new DatasetException($"sample '{key}' has more than {MaxMembers} members", where,
                    "Check how the tar names its members: the key ends at the first dot.");
            }

            if (member.Size > int.MaxValue)
                throw new DatasetException($"member '{member.Name}' has {member.Size} bytes; the most is 2 GiB", where, "Leave it out of the tar.");
            members.Add((suffix, member));
        }

        EndSample();
        return index.Build();

        void EndSample()
        {
            if (current is null)
                return;
            if (members.Any(member => SampleName.IsImage(member.Suffix)))
            {
                foreach (var (suffix, member) in members)
                    index.AddMember(index.Suffix(suffix), member.Offset, (int)member.Size);
                index.EndSample(current);
            }
            else
            {
                withoutImage.Add(current);
            }

            members.Clear();
        }
    }
}
