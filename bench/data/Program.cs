using System.Diagnostics;
using System.Globalization;
using DarkMatter.Bench;
using DarkMatter.Data;
using DarkMatter.Data.Bench;

// Images per second and core: two SimCLR views of each image, from the packed dataset to pooled uint8 batches, one worker.
// The torchvision side alternates with ours; both are measured in CPU time, because the machine may be shared.
//
//     dotnet run --project bench/data [fashion|photos|order]...

const string Idx = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz";
const int Repeats = 7;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
var scratch = Directory.CreateTempSubdirectory("darkmatter-bench-");
try
{
    Console.WriteLine($"hardware  {Machine.Hardware}");
    Console.WriteLine($"commit    {Machine.Commit()}");
    Console.WriteLine($"method    CPU time, 1 worker, 1 warm-up and {Repeats} repeats alternating with python3-torchvision (Pillow images, 1 thread); median [min, max]");
    string[] parts = args.Length > 0 ? args : ["order", "fashion", "photos"];
    if (parts.Contains("order"))
        MeasureOrder();
    if (parts.Contains("fashion"))
        await MeasureFashion();
    if (parts.Contains("photos"))
        await MeasurePhotos();
    return 0;
}
finally
{
    scratch.Delete(recursive: true);
}

void MeasureOrder()
{
    var counts = new int[100_000];
    Array.Fill(counts, 10_000);
    var order = new SampleOrder(1, counts, 1024, 65_536);
    const int Addresses = 2_000_000;
    var rates = Enumerable.Range(0, Repeats + 1).Select(_ =>
    {
        var before = Cpu();
        for (var i = 0; i < Addresses; i++)
            order.Locate(i & 1023, i >> 10);
        return Addresses / (Cpu() - before) / 1e6;
    }).Skip(1).ToList();
    Console.WriteLine($"order     {Spread(rates)} million addresses/s (10^9 images in 10^5 shards)");
}

async Task MeasureFashion()
{
    var dataset = Path.Combine(scratch.FullName, "fashion");
    await PackJob.RunAsync(new PackOptions { Source = new PackSource.Idx(Idx, null), Destination = dataset });
    using var peer = new Peer("fashion", Idx);
    var view = SimClr(28, 0.2, 3, 0.5);

    // The whole first epoch is warm-up: it decodes PNG and fills the cache.
    await using var loader = PretrainLoader.Open(Options(dataset, view, 512));
    var first = Cpu();
    await Read(loader, 118);
    Console.WriteLine($"fashion   first epoch, decoding PNG: {118 * 512 / (Cpu() - first):0} images/s");
    await Compare("fashion", loader, peer, steps: 20, peerImages: 1500);
}

async Task MeasurePhotos()
{
    var photos = Path.Combine(scratch.FullName, "photos");
    Peer.MakePhotos(photos, 96);
    Console.WriteLine($"photos    96 synthetic photos, 500 x 375, mean {Directory.GetFiles(photos).Average(file => new FileInfo(file).Length) / 1000:0} KB");
    var dataset = Path.Combine(scratch.FullName, "packed");
    await PackJob.RunAsync(new PackOptions { Source = new PackSource.Folder(photos), Destination = dataset });

    using var codec = new ImageCodec();
    var files = Directory.GetFiles(photos).Select(File.ReadAllBytes).ToList();
    var decode = Enumerable.Range(0, Repeats + 1).Select(_ =>
    {
        var before = Cpu();
        foreach (var file in files)
            codec.Decode(file);
        return files.Count / (Cpu() - before);
    }).Skip(1).ToList();
    Console.WriteLine($"photos    {Spread(decode)} images/s is the limit: libjpeg-turbo decoding alone");

    using var peer = new Peer("photos", photos);
    await using var loader = PretrainLoader.Open(Options(dataset, SimClr(224, 0.08, 23, 1), 32));
    await Compare("photos", loader, peer, steps: 6, peerImages: 60);
}

async Task Compare(string name, PretrainLoader loader, Peer peer, int steps, int peerImages)
{
    List<double> ours = [], theirs = [], ratios = [];
    for (var repeat = 0; repeat <= Repeats; repeat++)
    {
        var before = Cpu();
        await Read(loader, steps);
        var mine = steps * loader.SamplesPerStep / (Cpu() - before);
        var peers = peerImages / peer.Run(peerImages);
        if (repeat == 0)
            continue;
        ours.Add(mine);
        theirs.Add(peers);
        ratios.Add(mine / peers);
    }

    Console.WriteLine($"{name,-9} {Spread(ours)} images/s per core, two views each: {1e6 / 2 / Machine.Median(ours):0.0} us a view");
    Console.WriteLine($"{name,-9} {Spread(theirs)} images/s per core with torchvision: {1e6 / 2 / Machine.Median(theirs):0.0} us a view");
    Console.WriteLine($"RATIO {name} {Machine.Spread(ratios, "0.00")}");
}

static async Task Read(PretrainLoader loader, int steps)
{
    for (var step = 0; step < steps; step++)
        (await loader.ReadAsync(default)).Dispose();
}

static ViewRecipe SimClr(int size, double scale, int kernel, double strength) => new()
{
    Size = size,
    ScaleMin = scale,
    ColorJitter = new ColorJitterRecipe { Probability = 0.8, Brightness = 0.8 * strength, Contrast = 0.8 * strength, Saturation = 0.8 * strength, Hue = 0.2 * strength },
    GrayscaleProbability = 0.2,
    Blur = new BlurRecipe { Probability = 0.5, KernelSize = kernel },
};

// One batch ahead and no more: what is made outside the measured span is one batch at each end.
static PretrainLoaderOptions Options(string dataset, ViewRecipe view, int batch) => new()
{
    DatasetPath = dataset,
    Seed = 1,
    LaneCount = 8,
    Lanes = [0, 1, 2, 3, 4, 5, 6, 7],
    GlobalBatch = batch,
    Views = [view, view],
    PrefetchBatches = 1,
};

static double Cpu() => Process.GetCurrentProcess().TotalProcessorTime.TotalSeconds;

static string Spread(List<double> values) => Machine.Spread(values, Machine.Median(values) < 100 ? "0.0" : "0");
