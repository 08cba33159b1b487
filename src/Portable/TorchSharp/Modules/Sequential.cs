using static TorchSharp.torch;

namespace TorchSharp.Modules
{
    /// <summary>Modules one after the other, named by their places or as given. What is between them is disposed on the way.</summary>
    public class Sequential : nn.Module<Tensor, Tensor>
    {
        private readonly List<nn.Module<Tensor, Tensor>> chain = [];

        internal Sequential(IEnumerable<(string name, nn.Module<Tensor, Tensor> submodule)> modules) : base(nameof(Sequential))
        {
            foreach (var (name, submodule) in modules) append(name, submodule);
        }

        public int Count => chain.Count;

        public nn.IModule<Tensor, Tensor> this[int index] => chain[index];

        public Sequential append(string name, nn.IModule<Tensor, Tensor> module)
        {
            var submodule = (nn.Module<Tensor, Tensor>)module;
            register_module(name, submodule);
            chain.Add(submodule);
            return this;
        }

        public Sequential append(nn.IModule<Tensor, Tensor> module) =>
            append(chain.Count.ToString(System.Globalization.CultureInfo.InvariantCulture), module);

        public override Tensor forward(Tensor tensor)
        {
            if (chain.Count == 0) return tensor.alias();
            var current = tensor;
            foreach (var module in chain)
            {
                var next = module.call(current);
                if (!ReferenceEquals(current, tensor) && !ReferenceEquals(current, next)) current.Dispose();
                current = next;
            }
            return current;
        }
    }
}

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            public static Modules.Sequential Sequential() => new([]);

            public static Modules.Sequential Sequential(params (string name, Module<Tensor, Tensor> submodule)[] modules) => new(modules);

            public static Modules.Sequential Sequential(IEnumerable<(string name, Module<Tensor, Tensor> submodule)> modules) => new(modules);

            public static Modules.Sequential Sequential(params Module<Tensor, Tensor>[] modules) => Sequential((IEnumerable<Module<Tensor, Tensor>>)modules);

            public static Modules.Sequential Sequential(IEnumerable<Module<Tensor, Tensor>> modules) =>
                new(modules.Select((module, index) => (index.ToString(System.Globalization.CultureInfo.InvariantCulture), module)));
        }
    }
}
