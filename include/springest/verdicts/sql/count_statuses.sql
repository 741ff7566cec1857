SELECT verification_status, count(*)
FROM springest.current_verdict
WHERE site = :site
GROUP BY verification_status
ORDER BY verification_status
