lock
stage
commit
echo end
