<?php echo "A short answer.\n";
