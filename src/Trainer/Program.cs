using DarkMatter.Trainer.Commands;

return await CommandTree.RunAsync(args);
