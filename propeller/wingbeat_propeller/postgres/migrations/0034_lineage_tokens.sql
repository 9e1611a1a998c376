-- expand
-- What values are known by is looked up in B-trees of its hash: a hash index keeps all rows of one token in one chain,
-- along which every insertion goes, and one file may be given to a million executions. Makers and those who were given
-- the value lie apart, as there are few of the ones and may be very many of the others. Writers are held up while it is
-- built; a server of the release before traces slowly until it is replaced.
CREATE INDEX lineage_values_made ON lineage_values (hashtextextended(token, 0), execution_id) WHERE node_id <> '';
CREATE INDEX lineage_values_given ON lineage_values (hashtextextended(token, 0), execution_id) WHERE node_id = '';
DROP INDEX lineage_values_token;
