namespace DarkMatter.Data;

/// <summary>A dataset, shard, index or image is missing, damaged or not what it says. The message tells what, where, and what to do.</summary>
public sealed class DatasetException : Exception
{
    /// <summary>Composes the message from its three parts.</summary>
    /// <param name="what">What is wrong.</param>
    /// <param name="where">The file, shard or sample.</param>
    /// <param name="remedy">What the reader can do about it, as a sentence.</param>
    /// <param name="inner">The cause, if another exception is it.</param>
    public DatasetException(string what, string where, string remedy, Exception? inner = null)
        : base($"{where}: {what}. {remedy}", inner)
    {
        What = what;
        Where = where;
        Remedy = remedy;
    }

    /// <summary>What is wrong, without the place.</summary>
    public string What { get; }

    /// <summary>The file, shard or sample that is at fault.</summary>
    public string Where { get; }

    /// <summary>What to do about it.</summary>
    public string Remedy { get; }
}
