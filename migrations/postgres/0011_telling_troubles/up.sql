-- A partner could map our network by its delivery log: it named private addresses, and why a host could not be reached.
UPDATE deliveries SET trouble = 'it cannot be reached' WHERE trouble LIKE 'it cannot be reached: %';
UPDATE deliveries SET trouble = 'the URL may not be spoken to: its host has no public address'
WHERE trouble LIKE 'the URL may not be spoken to: % is not a public address';
