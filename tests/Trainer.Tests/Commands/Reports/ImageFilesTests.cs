using DarkMatter.Data;
using DarkMatter.Trainer.Commands;
using DarkMatter.Trainer.Commands.Reports;
using DarkMatter.Trainer.Tests.Training;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Commands.Reports;

[Collection(TorchCollection.Name)]
public sealed class ImageFilesTests : IDisposable
{
    private const int Size = 16;
    private readonly string _folder = Directory.CreateTempSubdirectory("images").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Load_ImagesOfDifferentSizes_AreTheirCentredSquares()
    {
        // White where the centred square is, black beside it.
        string[] files = [Png("wide.png", 40, 20, (x, _) => x is >= 10 and < 30), Png("high.png", 20, 50, (_, y) => y is >= 15 and < 35), Png("dot.png", 1, 1, (_, _) => true)];
        using var scope = NewDisposeScope();
        var images = ImageFiles.Load(files, Size);
        images.shape.ShouldBe([3, Size, Size, 3]);
        images.eq(255).all().item<bool>().ShouldBeTrue();
    }

    [Fact]
    public void Load_WhatIsNoImage_SaysWhichAndWhatToDo()
    {
        var sound = Png("sound.png", Size, Size, (x, y) => (x * y) % 3 == 0);
        Refused(Path.Combine(_folder, "absent.png"), "there is no such file; check the path");
        Refused(Path.Combine(_folder, "absent", "a.png"), "there is no such file; check the path");
        Refused(_folder, "it is a folder; give the images in it, or a packed dataset with --dataset");
        Refused(Written("empty.png", []), "give JPEG, PNG or WebP files");
        Refused(Written("text.png", "no image"u8.ToArray()), "give JPEG, PNG or WebP files");
        Refused(Written("cut.png", File.ReadAllBytes(sound)[..40]), "give JPEG, PNG or WebP files");

        void Refused(string file, string message)
        {
            var refused = Should.Throw<CommandException>(() => ImageFiles.Load([sound, file], Size));
            refused.ExitCode.ShouldBe(ExitCode.BadRequest);
            refused.Message.ShouldStartWith(file + ": ");
            refused.Message.ShouldContain(message);
        }
    }

    private string Png(string name, int width, int height, Func<int, int, bool> white)
    {
        using var codec = new ImageCodec();
        byte[] pixels = [.. Enumerable.Range(0, width * height).Select(p => (byte)(white(p % width, p / width) ? 255 : 0))];
        return Written(name, codec.EncodePng(pixels, width, height, 1).ToArray());
    }

    private string Written(string name, byte[] bytes)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
