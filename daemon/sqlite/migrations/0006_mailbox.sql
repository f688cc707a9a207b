-- What one subscriber is still owed: whoever has asked a thousand questions is looked up as fast as one who asked once. A query
-- must repeat this condition word for word to use it.
CREATE INDEX exchange_mailbox ON exchange (account, openid)
 WHERE state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = '');
