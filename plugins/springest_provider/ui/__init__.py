"""The page "Springest" in Airflow's UI."""
