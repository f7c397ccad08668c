-- What `lac` needs on MLflow's PostgreSQL database, for two roles that own nothing there:
--
--   lac_plan   validate, plan, drift, show, history, rollback, state list, token list
--              reads only
--   lac_apply  apply, destroy, import, state rm, force-unlock, token create, token revoke
--              writes MLflow's rows and the lac_* tables
--
-- Run it as the owner of MLflow's tables or as a superuser, in the schema that they are in, after
-- `CREATE ROLE lac_plan LOGIN …; CREATE ROLE lac_apply LOGIN …;`. Running it again does no harm.
-- Where MLflow's auth tables are a database of their own, run the parts marked "auth" and "lac" there.
-- MLflow's tables must exist: a missing database is made by its owner's first `lac apply`, or by
-- `mlflow db upgrade`.

-- registry and tracking: read
GRANT SELECT ON
  alembic_version, registered_models, registered_model_tags, registered_model_aliases,
  model_versions, model_version_tags, experiments, experiment_tags, runs,
  logged_models, inputs, workspaces, endpoints
  TO lac_plan, lac_apply;
-- what a plan's evidence is read from: what runs and logged models used and measured
GRANT SELECT ON
  tags, params, metrics, latest_metrics, datasets, input_tags, logged_model_metrics, logged_model_params
  TO lac_plan, lac_apply;
-- not their secrets
GRANT SELECT (webhook_id, workspace, name, status, deleted_timestamp) ON webhooks TO lac_plan, lac_apply;
GRANT SELECT ON webhook_events TO lac_plan, lac_apply;

-- registry and tracking: write
GRANT INSERT, UPDATE, DELETE ON
  registered_models, registered_model_tags, registered_model_aliases,
  model_versions, model_version_tags, experiment_tags
  TO lac_apply;
GRANT INSERT, UPDATE ON experiments TO lac_apply;
GRANT USAGE ON SEQUENCE experiments_experiment_id_seq TO lac_apply;
-- a version made of a logged model is noted among that model's tags, as MLflow does
GRANT SELECT, INSERT, UPDATE ON logged_model_tags TO lac_apply;
-- deleting an experiment marks its runs and drops what they assessed; restoring one marks them back
GRANT UPDATE (lifecycle_stage, deleted_time) ON runs TO lac_apply;
GRANT SELECT, DELETE ON assessments TO lac_apply;

-- auth: read, without the password hashes
GRANT SELECT ON alembic_version_auth, roles, role_permissions, user_role_assignments
  TO lac_plan, lac_apply;
GRANT SELECT (id, username, is_admin) ON users TO lac_plan, lac_apply;

-- auth: write
GRANT INSERT, UPDATE, DELETE ON roles, role_permissions TO lac_apply;
GRANT INSERT, DELETE ON user_role_assignments TO lac_apply;
GRANT USAGE ON SEQUENCE
  roles_id_seq, role_permissions_id_seq, user_role_assignments_id_seq
  TO lac_apply;

-- lac: its own tables are made by the first apply, in each of the databases; once they are there,
-- `REVOKE CREATE ON SCHEMA public FROM lac_apply` takes the right back until an upgrade of lac asks for it
GRANT CREATE ON SCHEMA public TO lac_apply;
ALTER DEFAULT PRIVILEGES FOR ROLE lac_apply IN SCHEMA public GRANT SELECT ON TABLES TO lac_plan;

-- endpoints: a role of their own in the address that `auth_store:` refers to reads the users' password hashes
-- and the grants; once the lac_* tables are there, also the tokens, and it may note when they were last used:
--
--   GRANT SELECT ON users, roles, role_permissions, user_role_assignments TO lac_serve;
--   GRANT SELECT, UPDATE (last_used_ms) ON lac_tokens TO lac_serve;

-- after large applies the planner's statistics are renewed; before PostgreSQL 17 only the owner may do that,
-- and autovacuum does it some minutes later
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    GRANT MAINTAIN ON
      registered_models, registered_model_tags, registered_model_aliases,
      model_versions, model_version_tags
      TO lac_apply;
  END IF;
END
$$;
