"""What each process of an installation is made of: parts meet here, settings become their options."""
