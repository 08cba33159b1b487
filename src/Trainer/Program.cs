Console.WriteLine("darkmatter");
