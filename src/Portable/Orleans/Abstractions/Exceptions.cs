using Orleans.Runtime;

namespace Orleans.Runtime
{
    /// <summary>Base of the exceptions that the grain runtime throws itself.</summary>
    public class OrleansException : Exception
    {
        public OrleansException() : base("Unexpected error.") { }

        public OrleansException(string message) : base(message) { }

        public OrleansException(string message, Exception? innerException) : base(message, innerException) { }
    }

    /// <summary>A call that was not delivered.</summary>
    public class OrleansMessageRejectionException : OrleansException
    {
        internal OrleansMessageRejectionException(string message) : base(message) { }

        internal OrleansMessageRejectionException(string message, Exception? innerException) : base(message, innerException) { }
    }

    /// <summary>The silo is stopping or has stopped.</summary>
    public sealed class SiloUnavailableException : OrleansMessageRejectionException
    {
        public SiloUnavailableException() : base("The silo is not available.") { }

        public SiloUnavailableException(string message) : base(message) { }

        public SiloUnavailableException(string message, Exception innerException) : base(message, innerException) { }
    }
}

namespace Orleans.Storage
{
    /// <summary>The stored state is not the one that was read: another writer came first. The activation that hit it is deactivated.</summary>
    public class InconsistentStateException : OrleansException
    {
        public InconsistentStateException() { }

        public InconsistentStateException(string message) : base(message) { }

        public InconsistentStateException(string message, Exception innerException) : base(message, innerException) { }

        public InconsistentStateException(string errorMsg, string? storedEtag, string? currentEtag)
            : this(errorMsg, storedEtag, currentEtag, null) { }

        public InconsistentStateException(string errorMsg, string? storedEtag, string? currentEtag, Exception? storageException)
            : base(errorMsg, storageException)
        {
            StoredEtag = storedEtag;
            CurrentEtag = currentEtag;
        }

        public string? StoredEtag { get; }

        public string? CurrentEtag { get; }

        /// <summary>True while the exception is inside the activation whose state it concerns.</summary>
        internal bool IsSourceActivation { get; set; } = true;
    }
}

namespace Orleans.Serialization
{
    /// <summary>Base of the exceptions of copying and storing values.</summary>
    public class SerializerException : Exception
    {
        public SerializerException() { }

        public SerializerException(string message) : base(message) { }

        public SerializerException(string message, Exception innerException) : base(message, innerException) { }
    }

    /// <summary>A value of a type that has no <see cref="GenerateSerializerAttribute"/> was to cross a grain call.</summary>
    public sealed class CodecNotFoundException : SerializerException
    {
        public CodecNotFoundException(string message) : base(message) { }
    }
}
