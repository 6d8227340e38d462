"""The local CA: certificates, adoption of existing CAs, and issuance."""
