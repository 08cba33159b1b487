namespace TorchSharp;

/// <summary>The kinds of device libtorch numbers; this binding runs on the CPU.</summary>
public enum DeviceType
{
    CPU = 0,
    CUDA = 1,
}

public static partial class torch
{
    public class Device
    {
        public Device(string description)
        {
            ArgumentNullException.ThrowIfNull(description);
            var parts = description.Split(':');
            type = Parse(parts[0], description);
            index = parts.Length == 2 && int.TryParse(parts[1], out var number) ? number
                : parts.Length == 1 ? -1
                : throw new ArgumentException($"'{description}' is not a device: expected 'cpu', 'cuda' or 'cuda:0'.");
        }

        public Device(string deviceType, int index = -1)
        {
            type = Parse(deviceType, deviceType);
            this.index = index;
        }

        public Device(DeviceType deviceType, int index = -1) => (type, this.index) = (deviceType, index);

        public DeviceType type { get; }

        public int index { get; }

        public static implicit operator Device(string description) => new(description);

        public override string ToString() => type.ToString().ToLowerInvariant() + (index < 0 ? "" : $":{index}");

        private static DeviceType Parse(string name, string description) => name switch
        {
            "cpu" => DeviceType.CPU,
            "cuda" => DeviceType.CUDA,
            _ => throw new ArgumentException($"'{description}' is not a device: expected 'cpu', 'cuda' or 'cuda:0'."),
        };
    }

    public static Device CPU { get; } = new(DeviceType.CPU);

    public static Device CUDA { get; } = new(DeviceType.CUDA);

    public static Device device(string description) => new(description);

    public static Device device(string deviceType, int index = -1) => new(deviceType, index);

    public static Device device(DeviceType deviceType, int index = -1) => new(deviceType, index);

    public static class cuda
    {
        /// <summary>Always false: Debian's libtorch computes on the CPU. The official stack with TorchSharp-cuda-linux has CUDA.</summary>
        public static bool is_available() => false;

        public static int device_count() => 0;
    }
}
