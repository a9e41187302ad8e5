"""Read results as languages and scripts write them: numbers, options, names of days, sentences. Pure."""
