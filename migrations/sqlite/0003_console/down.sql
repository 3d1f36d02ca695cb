DROP TABLE saved_views;
DROP TABLE audit;
DROP TABLE login_failures;
DROP TABLE sessions;
DROP TABLE links;
DROP TABLE users;
