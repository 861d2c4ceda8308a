"""What the developer's side is made of: functions behind the commands. Never imported inside the server."""
