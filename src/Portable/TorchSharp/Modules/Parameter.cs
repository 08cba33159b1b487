namespace TorchSharp.Modules
{
    /// <summary>A tensor that a module registers as something to learn. It takes its data's place; the data tensor becomes empty.</summary>
    public class Parameter : torch.Tensor
    {
        public Parameter(torch.Tensor data, bool requires_grad = true)
            : base(data.with_requires_grad(requires_grad).MoveHandle(), false)
        {
            if (data.OwningDisposeScope is not null) DisposeScope.Replace(data, this);
        }
    }
}

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Parameter Parameter(Tensor data, bool requires_grad = true) => new(data, requires_grad);
        }
    }
}
