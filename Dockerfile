# Airflow with this project and its pinned requirements built in.
FROM apache/airflow:3.3.2-python3.11

WORKDIR /opt/airflow
COPY --chown=airflow:root requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt

COPY --chown=airflow:root pyproject.toml README.md LICENSE ./
COPY --chown=airflow:root bin/ bin/
COPY --chown=airflow:root dags/ dags/
COPY --chown=airflow:root plugins/ plugins/
COPY --chown=airflow:root include/ include/
# A volume takes its owner from the folder it is mounted on: services write there as airflow, not as root.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && mkdir -p sandbox trial secrets/airflow secrets/celery secrets/init secrets/postgres secrets/redis secrets/sandbox secrets/trial

ENV PYTHONPATH=/opt/airflow/include:/opt/airflow/plugins \
    PYTHONSAFEPATH=1 \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/airflow/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/airflow/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False
