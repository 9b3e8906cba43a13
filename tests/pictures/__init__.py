"""Pictures of the window, and the program that makes them: python -m tests.pictures"""
