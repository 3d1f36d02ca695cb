DROP TABLE deliveries;
DROP TABLE webhooks;
DELETE FROM meta WHERE name = 'shops_told';
