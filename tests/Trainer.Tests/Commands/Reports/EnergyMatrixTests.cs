using System.Text.Json;
using DarkMatter.Trainer.Commands.Reports;

namespace DarkMatter.Trainer.Tests.Commands.Reports;

public sealed class EnergyMatrixTests
{
    [Fact]
    public void Text_SymmetricEnergy_NumbersRowsAndColumnsAndListsTheImages() =>
        new EnergyMatrix("simclr", Symmetric: true, ["a.jpg", "photos/b.png"], new[,] { { -1e-9, 1.25 }, { 1.25, 0 } }).Text().ShouldBe("""
            simclr: energies of 2 images; low = compatible
                      1         2
            1  0.000000  1.250000
            2  1.250000  0.000000

            1  a.jpg
            2  photos/b.png
            """);

    [Fact]
    public void Text_EnergyThatIsNotSymmetric_SaysWhichIsTheQuery() =>
        new EnergyMatrix("moco", Symmetric: false, ["a.jpg", "b.jpg"], new[,] { { 0.5, 123456.789 }, { 1, 0 } }).Text().ShouldStartWith("""
            moco: energies of 2 images; low = compatible; row = query, column = key
                           1              2
            1       0.500000  123456.789000
            """);

    [Fact]
    public void Json_HasEveryEnergyWithAllItsDigits()
    {
        using var json = JsonDocument.Parse(new EnergyMatrix("moco", Symmetric: false, ["a", "b"], new[,] { { 1e-9, 2 }, { 3, 4.125 } }).Json());
        var root = json.RootElement;
        root.GetProperty("method").GetString().ShouldBe("moco");
        root.GetProperty("symmetric").GetBoolean().ShouldBeFalse();
        root.GetProperty("images").EnumerateArray().Select(image => image.GetString()).ShouldBe(["a", "b"]);
        root.GetProperty("energy")[0][0].GetDouble().ShouldBe(1e-9);
        root.GetProperty("energy")[1][1].GetDouble().ShouldBe(4.125);
    }
}
