using System.Buffers;
using System.IO.Pipelines;
using Grpc.Common;
using Grpc.Core;

namespace DarkMatter.Portable.Grpc.Tests;

public sealed class MessageFramesTests
{
    private static readonly Marshaller<byte[]> Announced = new(
        (bytes, context) =>
        {
            context.SetPayloadLength(bytes.Length);
            context.GetBufferWriter().Write(bytes);
            context.Complete();
        },
        context => context.PayloadAsReadOnlySequence().ToArray());

    private static readonly Marshaller<byte[]> Unannounced = new(
        (bytes, context) =>
        {
            context.GetBufferWriter().Write(bytes);
            context.Complete();
        },
        context => context.PayloadAsNewBuffer());

    private static readonly Marshaller<byte[]> Whole = new(bytes => bytes, bytes => bytes);

    public static TheoryData<string, int> Cases
    {
        get
        {
            var cases = new TheoryData<string, int>();
            foreach (var marshaller in new[] { nameof(Announced), nameof(Unannounced), nameof(Whole) })
            {
                foreach (var length in new[] { 0, 1, 4091, 4096, 65_536, 3_000_001 })
                {
                    cases.Add(marshaller, length);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Message_ThroughEitherWriter_ReadsBackTheSame(string name, int length)
    {
        var marshaller = name switch { nameof(Announced) => Announced, nameof(Unannounced) => Unannounced, _ => Whole };
        var message = new byte[length];
        new Random(length).NextBytes(message);
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
        var buffered = new MessageWriter(null);
        pipe.Writer.Write(buffered.Write(message, marshaller.ContextualSerializer).Span);
        buffered.Release();
        new MessageWriter(null, pipe.Writer).Write(message, marshaller.ContextualSerializer);
        await pipe.Writer.CompleteAsync();

        var reader = new MessageReader(pipe.Reader, null, null);
        for (var copy = 0; copy < 2; copy++)
        {
            var (hasMessage, read) = await reader.ReadAsync(marshaller.ContextualDeserializer, CancellationToken.None);
            hasMessage.ShouldBeTrue();
            read!.AsSpan().SequenceEqual(message).ShouldBeTrue();
        }

        (await reader.ReadAsync(marshaller.ContextualDeserializer, CancellationToken.None)).HasMessage.ShouldBeFalse();
    }

    [Fact]
    public void Serializer_ThatLiesAboutItsLength_IsFound()
    {
        var pipe = new Pipe();
        var writer = new MessageWriter(null, pipe.Writer);
        var failure = Should.Throw<InvalidOperationException>(() => writer.Write("x", (_, context) =>
        {
            context.SetPayloadLength(5);
            context.GetBufferWriter().Write(new byte[4]);
            context.Complete();
        }));
        failure.Message.ShouldContain("announced 5 bytes and wrote 4");
        writer.IsPartial.ShouldBeTrue();
    }

    [Fact]
    public void Serializer_ThatNeverCompletes_IsFound() =>
        Should.Throw<InvalidOperationException>(() => new MessageWriter(null).Write("x", (_, _) => { })).Message.ShouldContain("Complete");

    [Fact]
    public void LargeMessages_AllocateNothingLasting()
    {
        var message = new byte[8_000_000];
        var writer = new MessageWriter(null);
        void WriteOne()
        {
            writer.Write(message, Announced.ContextualSerializer);
            writer.Release();
        }

        WriteOne();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 20; i++)
        {
            WriteOne();
        }

        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(20_000, "20 messages of 8 MB go through one pooled buffer");
    }
}
