lock
stage
commit
