-- Deliveries of the site that were sent lately and whose outcome is unknown; on request also those in flight.
SELECT springest.unknown_outcomes(:site, CAST(:since AS timestamptz), :in_flight)
