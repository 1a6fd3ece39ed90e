-- The shop's settings; `perigee help settings` lists all there are.
return {
  database = { url = "sqlite:data/shop.db" },
  http = { listen = "127.0.0.1:8010" },
  scripts = { aggregates = "lua/aggregates", projections = "projections" },
}
