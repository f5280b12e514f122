-- What Appwrite does when a project is deleted, in one transaction: either the project is gone and its data will be, or
-- neither. psql --set project=3 --file delete_project.sql
BEGIN;
DELETE FROM appwrite._console_projects WHERE _id = :project;
SELECT sexton.submit(job, jsonb_build_object('project', :project), key => 'project-' || :project)
  FROM (VALUES ('delete-executions'), ('delete-audit'), ('delete-sessions')) AS deletes (job);
COMMIT;
