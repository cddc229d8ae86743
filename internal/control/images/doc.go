// Package images builds MachineImages: it takes a machine of the base through a claim on
// the image's pool, has files and script carried out there, and lets the pool's provider save it.
//
// [Decide] is a pure function from what is known of one image to the next step; the reconciler
// carries out one step, and looks again. A build is one long step: what it does on the machine
// is remembered nowhere but in the status, which says beforehand that it begins. A controller
// that finds a build begun which is not its own gives that machine back and begins
// anew, so no two ever work on one machine, and no image is made of half a script.
//
// That an image of a name exists at the provider is the only proof that it was built: so an answer that
// was lost, or a controller that died while the provider saved, costs nothing.
package images
