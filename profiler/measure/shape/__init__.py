"""What each object's mask looks like: area, outline, radius, hull, moments, Zernike."""
