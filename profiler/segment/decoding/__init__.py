"""What heads share on the way from predictions to nuclei, on the device and at fixed shapes."""
