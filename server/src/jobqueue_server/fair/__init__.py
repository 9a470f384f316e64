"""How principals share what a server has too little of. `places.py` lists all such places."""
