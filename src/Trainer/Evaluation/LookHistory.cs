using System.Globalization;
using DarkMatter.Trainer.Methods;

namespace DarkMatter.Trainer.Evaluation;

/// <summary>
/// What looks in a row found: it adds what a single look may show by chance and what is grave only if it stays, and says when the run must act. It
/// knows neither tensors nor ranks, and outlives generations.
/// </summary>
/// <param name="options">How many looks make a collapse, and what is done about it.</param>
/// <param name="plateaus">Losses at which the method stands still.</param>
public sealed class LookHistory(WatchOptions options, IReadOnlyList<Plateau> plateaus)
{
    private const int LooksAtPlateau = 2;                                     // a falling loss may be near it once
    private const double UnalignedPart = 0.9;

    private Plateau? _at;
    private int _stuck, _unaligned, _collapsed;
    private EmbeddingHealth _told;

    /// <summary>
    /// Whether the look just judged makes the recipe's <see cref="WatchOptions.OnCollapse"/> due: at every multiple of the patience, since what was
    /// asked of the silo may be lost.
    /// </summary>
    public bool MustAct => options.OnCollapse != CollapseAction.Warn && _told == EmbeddingHealth.Collapsed && _collapsed > 0 && _collapsed % options.Patience == 0;

    /// <summary>Adds to a look what is known from those before.</summary>
    /// <param name="look">What this look found, with the mean loss since the last.</param>
    /// <param name="settled">Whether the learning rate has warmed up and every part is trained. Networks begin close to a point or a line, and losses at chance: before that, a collapse is only a warning.</param>
    public CollapseReport Judge(CollapseReport look, bool settled)
    {
        var at = plateaus.FirstOrDefault(p => IsAt(p, look));
        _stuck = at is null ? 0 : at == _at ? _stuck + 1 : 1;
        _at = at;
        _unaligned = look.Health < EmbeddingHealth.Collapsed && look.Alignment > UnalignedPart * look.Apart ? _unaligned + 1 : 0;
        _collapsed = settled && (look.Health == EmbeddingHealth.Collapsed || at is { Collapse: true }) ? _collapsed + 1 : 0;

        var begins = !settled && look.Health == EmbeddingHealth.Collapsed && double.IsFinite(look.Spread);
        var (health, reasons) = (begins ? EmbeddingHealth.Warning : look.Health, new List<string>());
        if (look.Reason.Length > 0)
            reasons.Add(begins ? "before the learning rate has warmed up, " + look.Reason : look.Reason);
        if (_unaligned >= options.Patience)
            Add(EmbeddingHealth.Warning, $"two views of an image are no nearer than views of two images (squared distance {look.Alignment:0.00} against {look.Apart:0.00}): views may have too little in common (weaken views), or nothing has been learned yet (optimizer.lr, optimizer.warmup)");
        if (at is not null && _stuck >= LooksAtPlateau)
        {
            var stays = at.Collapse && _collapsed >= Math.Max(LooksAtPlateau, options.Patience);
            Add(stays ? EmbeddingHealth.Collapsed : EmbeddingHealth.Warning, $"the loss stands at {look.Loss:0.000}, near {at.Loss:0.000} = {at.Meaning}: {at.Remedy}");
        }

        _told = health;
        return look with { Health = health, Reason = string.Join("; ", reasons) };

        void Add(EmbeddingHealth found, FormattableString reason)
        {
            health = found > health ? found : health;
            reasons.Add(reason.ToString(CultureInfo.InvariantCulture));
        }
    }

    /// <summary>The embeddings to come are of another state.</summary>
    public void Forget() => (_at, _stuck, _unaligned, _collapsed, _told) = (null, 0, 0, 0, EmbeddingHealth.Healthy);

    private static bool IsAt(Plateau p, CollapseReport look) =>
        Math.Abs(look.Loss - p.Loss) <= p.Tolerance && (!p.OnlyDrawnTogether || look.Spread < CollapseWatch.WarningSpread);
}
