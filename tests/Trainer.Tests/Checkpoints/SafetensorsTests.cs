using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using DarkMatter.Trainer.Checkpoints;

namespace DarkMatter.Trainer.Tests.Checkpoints;

public sealed class SafetensorsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("safetensors").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Write_ThenRead_GivesTheSameNamesTypesShapesAndBytes()
    {
        var path = Path.Combine(_folder, "a.safetensors");
        var items = Enum.GetValues<SafetensorsType>().Select((type, i) =>
        {
            var data = new byte[6 * type.ElementBytes()];
            new Random(i).NextBytes(data);
            return new SafetensorsItem($"tensor {i} ü\"", type, [2, 3], data);
        }).Append(new SafetensorsItem("scalar", SafetensorsType.Float64, [], new byte[8]))
          .Append(new SafetensorsItem("empty", SafetensorsType.Float32, [0, 5], Array.Empty<byte>())).ToList();

        SafetensorsWriter.Write(path, items, new Dictionary<string, string> { ["format"] = "pt" });

        SafetensorsWriter.Layout(items, new Dictionary<string, string> { ["format"] = "pt" }).ToArray().ShouldBe(File.ReadAllBytes(path));
        using var reader = SafetensorsReader.Open(path);
        reader.Metadata["format"].ShouldBe("pt");
        reader.Tensors.Count.ShouldBe(items.Count);
        foreach (var item in items)
        {
            var entry = reader[item.Name];
            entry.Type.ShouldBe(item.Type);
            entry.Shape.ShouldBe(item.Shape);
            (entry.Offset % item.Type.ElementBytes()).ShouldBe(0, "tensors are aligned to their elements");
            var read = new byte[entry.Bytes];
            reader.Read(item.Name, read);
            read.ShouldBe(item.Data.ToArray());
        }
    }

    [Fact]
    public void Write_TwoOfOneName_IsRefused() =>
        Should.Throw<ArgumentException>(() => SafetensorsWriter.Write(Path.Combine(_folder, "x"), [Item("a"), Item("a")]))
            .Message.ShouldContain("the name 'a' is taken");

    [Fact]
    public void Write_DataThatDoesNotFitItsShape_IsRefused() =>
        Should.Throw<ArgumentException>(() => SafetensorsWriter.Write(Path.Combine(_folder, "x"), [new("a", SafetensorsType.Float32, [3], new byte[8])]))
            .Message.ShouldContain("needs 12 bytes and has 8");

    [Theory]
    [InlineData(SafetensorsError.HeaderTooSmall, "", 0, "it has 3 bytes")]
    [InlineData(SafetensorsError.HeaderTooLarge, "{}", 0, "more than the 100000000 allowed")]
    [InlineData(SafetensorsError.HeaderTruncated, "{}", 0, "its header ends at byte")]
    [InlineData(SafetensorsError.InvalidHeaderStart, "[]", 0, "does not begin with '{'")]
    [InlineData(SafetensorsError.InvalidHeaderStart, " {}", 0, "does not begin with '{'")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":", 0, "not JSON")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":[[[[[[1]]]]]]}", 0, "not JSON")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":1}", 0, "tensor 'a' does not have exactly dtype, shape and two data_offsets")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 0, "tensor 'a' does not have exactly")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "tensor 'a' does not have exactly")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "tensor 'a' does not have exactly")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"__metadata__\":[1]}", 0, "__metadata__ is not an object")]
    [InlineData(SafetensorsError.InvalidHeader, "{\"__metadata__\":{\"k\":1}}", 0, "__metadata__ 'k' is not a string")]
    [InlineData(SafetensorsError.DuplicateName, "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "'k' stands there twice")]
    [InlineData(SafetensorsError.DuplicateName, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, "the name 'a' stands in its header twice")]
    [InlineData(SafetensorsError.UnknownType, "{\"a\":{\"dtype\":\"F8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "unknown type 'F8'")]
    [InlineData(SafetensorsError.InvalidShape, "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "no integer from 0 on: -1")]
    [InlineData(SafetensorsError.InvalidShape, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1.5],\"data_offsets\":[0,1]}}", 1, "no integer from 0 on: 1.5")]
    [InlineData(SafetensorsError.InvalidShape, "{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904,8],\"data_offsets\":[0,1]}}", 1, "more than 2^63 bytes")]
    [InlineData(SafetensorsError.InvalidOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, "two integers in rising order")]
    [InlineData(SafetensorsError.InvalidOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1, "two integers in rising order")]
    [InlineData(SafetensorsError.InvalidOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[9223372036854775806,9223372036854775807]}}", 1, "two integers in rising order")]
    [InlineData(SafetensorsError.SizeMismatch, "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "needs 8 bytes and its offsets span 4")]
    [InlineData(SafetensorsError.OverlappingOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, "tensor 'b' begins at byte")]
    [InlineData(SafetensorsError.HoleInOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[6,10]}}", 10, "2 bytes before tensor 'b'")]
    [InlineData(SafetensorsError.HoleInOffsets, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 7, "3 bytes behind its last tensor")]
    [InlineData(SafetensorsError.Truncated, "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 3, "its tensors end at byte")]
    public void Open_MalformedFile_NamesTheFault(SafetensorsError error, string header, int dataBytes, string message)
    {
        var path = Malformed(error, Encoding.UTF8.GetBytes(header), dataBytes);
        var thrown = Should.Throw<SafetensorsException>(() => SafetensorsReader.Open(path).Dispose());
        thrown.Error.ShouldBe(error);
        thrown.Message.ShouldContain(message);
        thrown.Message.ShouldContain(path);
        Should.NotThrow(() => File.Delete(path), "the file was closed");
    }

    [Fact]
    public void Open_HeaderThatIsNotUtf8_NamesTheFault()
    {
        var path = Malformed(SafetensorsError.InvalidHeader, [(byte)'{', (byte)'"', 0xff, 0xfe, (byte)'"', (byte)':', (byte)'1', (byte)'}'], 0);
        Should.Throw<SafetensorsException>(() => SafetensorsReader.Open(path).Dispose()).Error.ShouldBe(SafetensorsError.InvalidHeader);
    }

    [Fact]
    public void Read_NameThatIsNotThere_IsRefused()
    {
        using var reader = Written(Item("a"));
        Should.Throw<SafetensorsException>(() => reader.Read("b", new byte[4])).Error.ShouldBe(SafetensorsError.TensorNotFound);
    }

    [Fact]
    public void Read_IntoMemoryOfAnotherSize_IsRefused()
    {
        using var reader = Written(Item("a"));
        Should.Throw<SafetensorsException>(() => reader.Read("a", new byte[3])).Error.ShouldBe(SafetensorsError.WrongDestination);
    }

    [Fact]
    public void Read_FileCutAfterItWasOpened_IsRefused()
    {
        using var reader = Written(Item("a"));
        using (var file = File.Open(Path.Combine(_folder, "w.safetensors"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            file.SetLength(file.Length - 1);
        Should.Throw<SafetensorsException>(() => reader.Read("a", new byte[4])).Error.ShouldBe(SafetensorsError.Truncated);
    }

    [Fact]
    public void Open_AnyByteFlipped_NeverThrowsAnythingElse()
    {
        var path = Path.Combine(_folder, "f.safetensors");
        SafetensorsWriter.Write(path, [Item("a"), Item("b")], new Dictionary<string, string> { ["k"] = "v" });
        var good = File.ReadAllBytes(path);
        var random = new Random(7);
        var refused = 0;
        for (var i = 0; i < 2000; i++)
        {
            var bad = (byte[])good.Clone();
            bad[random.Next(bad.Length)] = (byte)random.Next(256);
            File.WriteAllBytes(path, random.Next(4) == 0 ? bad[..random.Next(bad.Length)] : bad);
            try
            {
                SafetensorsReader.Open(path).Dispose();
            }
            catch (SafetensorsException)
            {
                refused++;
            }
        }

        refused.ShouldBeGreaterThan(500);
    }

    private static SafetensorsItem Item(string name) => new(name, SafetensorsType.Float32, [1], new byte[4]);

    private SafetensorsReader Written(params SafetensorsItem[] items)
    {
        var path = Path.Combine(_folder, "w.safetensors");
        SafetensorsWriter.Write(path, items);
        return SafetensorsReader.Open(path);
    }

    private string Malformed(SafetensorsError error, byte[] header, int dataBytes)
    {
        var path = Path.Combine(_folder, "bad.safetensors");
        var claimed = error switch
        {
            SafetensorsError.HeaderTooLarge => 100_000_001UL,
            SafetensorsError.HeaderTruncated => (ulong)header.Length + 1,
            _ => (ulong)header.Length,
        };
        var bytes = new byte[8 + header.Length + dataBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, claimed);
        header.CopyTo(bytes, 8);
        File.WriteAllBytes(path, error == SafetensorsError.HeaderTooSmall ? bytes[..3] : bytes);
        return path;
    }
}
