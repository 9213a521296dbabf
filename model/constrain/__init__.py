"""What a suggestion may say, so that the file still lexes and closes and names exist. Only ``guide`` needs torch."""
