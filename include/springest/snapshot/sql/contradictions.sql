-- Certificates that a filter assigned to one learner although their id proves another, or that it assigned to two.
SELECT count(*)
FROM (SELECT told.springest_certificate_id
      FROM pg_temp.gathered AS told
      JOIN springest.delivery AS delivery
        ON delivery.site = :site
       AND delivery.springest_certificate_id = told.springest_certificate_id
       AND delivery.learner_ref <> told.learner_ref
      UNION
      SELECT springest_certificate_id
      FROM pg_temp.gathered
      GROUP BY springest_certificate_id
      HAVING count(DISTINCT learner_ref) > 1) AS contradicted
