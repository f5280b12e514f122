-- Switches a channel on. $1 the channel. One row: the answer.
SELECT sexton.channel_on($1)
