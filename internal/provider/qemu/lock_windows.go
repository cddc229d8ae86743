package qemu

import "os"

func tryLock(*os.File, lockKind) (bool, error) { return false, unsupported() }
