#!/bin/sh
# bustorture_kill.sh - the longest test of bustorture.sh, by itself
exec sh "$(dirname "$0")/bustorture.sh" kill
