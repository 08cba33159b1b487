Console.WriteLine("darkmatter-silo");
