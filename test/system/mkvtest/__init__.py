"""What the system tests share: real volumes and masters, a raw HTTP client, volumes that misbehave on purpose."""
