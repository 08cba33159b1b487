namespace DarkMatter.Trainer.Methods;

/// <summary>What SimCLR's head and loss look like. Source: Chen et al. 2020, section 3 and appendix B; defaults of the authors' code.</summary>
public sealed record SimClrOptions : MethodOptions
{
    /// <inheritdoc/>
    public override string Name => "simclr";

    /// <summary>τ, what similarities are divided by. Range above 0 to 10, default 0.5 (the authors' for small images; 0.1 on ImageNet).</summary>
    public double Temperature { get; init; } = 0.5;

    /// <summary>Width of the projector's hidden layers. 0 means as wide as the backbone's features. Default 0, the authors' choice.</summary>
    public int ProjectorHidden { get; init; }

    /// <summary>Dimensions of the embedding the loss compares. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Linear layers of the projector, 1 to 5. Default 2; the authors use 3 in SimCLR v2.</summary>
    public int ProjectorLayers { get; init; } = 2;

    /// <inheritdoc/>
    public override IReadOnlyList<Plateau> Plateaus(int batch) => [new(Math.Log((2 * batch) - 1), "ln(2N − 1): every candidate is as likely as the positive", Plateau.ChanceRemedy, Collapse: true)];

    /// <inheritdoc/>
    public override MethodOptions Read(IOptionReader given) => this with
    {
        Temperature = given.Real("temperature", Temperature, 0, 10, aboveMin: true),
        ProjectorHidden = given.Count("projector_hidden", ProjectorHidden, 0, 16384),
        ProjectorOutput = given.Count("projector_output", ProjectorOutput, 2, 16384),
        ProjectorLayers = given.Count("projector_layers", ProjectorLayers, 1, 5),
    };

    /// <inheritdoc/>
    public override IMethod Create(MethodSetup setup) => new SimClr(this, setup);
}
