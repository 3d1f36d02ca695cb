DROP TABLE calendars;
DROP TABLE shop_options;
