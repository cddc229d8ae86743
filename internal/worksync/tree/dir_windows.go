package tree

// openNonblock is of no use here: a named pipe is not found in a folder.
const openNonblock = 0
