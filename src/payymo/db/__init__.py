"""The database: every table on one page, the unit of work, the migrations."""
